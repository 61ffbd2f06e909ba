package netquorum

import _ "embed"

// schema is generated from the types and their comments, which the binary does
// not have; TestSchemaIsCurrent says when it is stale.
//
//go:generate go test -run IsCurrent -update .
//go:embed docs/schema/netquorum.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of one document as a user
// writes it, so that an editor can complete and check the YAML. The documents
// that the cluster itself writes are not in it.
func Schema() []byte { return append([]byte(nil), schema...) }
