package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
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
	return func(yield func(InterfaceEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp, err := c.do(ctx, "GET", "/v1/interfaces/watch", filerQuery(filer), nil, "", "")
		if err != nil {
			yield(InterfaceEvent{}, err)
			return
		}
		defer resp.Body.Close()
		lines := json.NewDecoder(bufio.NewReader(resp.Body))
		for {
			var e InterfaceEvent
			err := lines.Decode(&e)
			switch {
			case errors.Is(err, io.EOF):
				err = Refuse(ErrUnreachable, "the daemon at "+c.socket+" ended the watch: it is stopping", nil)
			case err != nil:
				err = c.failure(ctx, "GET", err)
			case e.Error != nil:
				err = e.Error
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func filerQuery(filer string) url.Values {
	if filer == "" {
		return nil
	}
	return url.Values{"filer": {filer}}
}
