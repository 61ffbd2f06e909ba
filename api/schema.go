package api

import (
	_ "embed"
	"net/http"

	"github.com/netquorum/netquorum"
)

// openAPI is made from the route table and the types: see openapi_test.go.
//
//go:generate go test . -run TestOpenAPI -update
//go:embed openapi.json
var openAPI []byte

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", typeJSON)
	w.Write(openAPI)
	return nil
}

func (s *Server) getSchema(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", typeSchema)
	w.Write(netquorum.Schema())
	return nil
}
