package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/netquorum/netquorum"
)

// An EffectiveDocument is what holds for a document, with what it inherits.
type EffectiveDocument struct {
	Kind     netquorum.Kind     `json:"kind"`
	Name     string             `json:"name"`
	Revision netquorum.Revision `json:"revision"` // of the configuration that was looked at
	// Effective says for each value which document it comes from; none for what
	// nobody says.
	Effective []netquorum.Setting `json:"effective"`
}

// effective answers with what holds for a document.
func effective(w http.ResponseWriter, snap Snapshot, d netquorum.Document) error {
	settings := snap.Config.Effective(d.Key())
	if settings == nil {
		return fmt.Errorf("%w: a %s inherits nothing; ask for it without effective", ErrUsage, d.Kind)
	}
	return answer(w, EffectiveDocument{d.Kind, d.Name, snap.Revision, settings})
}

// Effective reads what holds for a document, with what it inherits.
func (c *Client) Effective(ctx context.Context, kind netquorum.Kind, name string, cons Consistency) (d EffectiveDocument, err error) {
	q := consistency(cons)
	q.Set("effective", "true")
	return d, c.get(ctx, "/v1/documents/"+url.PathEscape(string(kind))+"/"+url.PathEscape(name), q, &d)
}
