package api

import (
	"context"
	"iter"
	"net/url"
)

// Interfaces asks for the states of a filer's interfaces; an empty name asks for
// this filer's.
func (c *Client) Interfaces(ctx context.Context, filer string) (r InterfaceReport, err error) {
	return r, c.get(ctx, "/v1/interfaces", filerQuery(filer), &r)
}

// WatchInterfaces yields what a filer's monitor sees until ctx ends or the
// daemon does. The last value has the error that ended it.
func (c *Client) WatchInterfaces(ctx context.Context, filer string) iter.Seq2[InterfaceEvent, error] {
	return watch(ctx, c, "/v1/interfaces/watch", filerQuery(filer), func(e InterfaceEvent) *Error { return e.Error })
}

func filerQuery(filer string) url.Values {
	if filer == "" {
		return nil
	}
	return url.Values{"filer": {filer}}
}
