package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/url"
	"strconv"

	"github.com/netquorum/netquorum"
)

// Watch yields every change after the revision, with diffs, until ctx ends or
// the daemon does; nil begins with the next change. The last value has the
// error that ended it. It is nil only when the caller stopped.
func (c *Client) Watch(ctx context.Context, from *netquorum.Revision) iter.Seq2[Change, error] {
	q := url.Values{"diff": {"true"}}
	if from != nil {
		q.Set("from", strconv.FormatUint(uint64(*from), 10))
	}
	return func(yield func(Change, error) bool) {
		for e, err := range watch(ctx, c, "/v1/watch", q, func(e WatchEvent) *Error { return e.Error }) {
			switch {
			case err != nil:
				yield(Change{}, err)
			case e.Change != nil && !yield(*e.Change, nil):
				return
			}
		}
	}
}

// watch yields what a request answers, line by line. The last value has the error
// that ended it.
func watch[E any](ctx context.Context, c *Client, path string, q url.Values, failed func(E) *Error) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var none E
		resp, err := c.stream(ctx, "GET", path, q, nil, -1, "", "")
		if err != nil {
			yield(none, err)
			return
		}
		defer resp.Body.Close()
		lines := json.NewDecoder(bufio.NewReader(resp.Body))
		for {
			var e E
			err := lines.Decode(&e)
			switch {
			case errors.Is(err, io.EOF):
				err = Refuse(ErrUnreachable, "the daemon at "+c.socket+" ended the watch: it is stopping", nil)
			case err != nil:
				err = c.failure(ctx, "GET", err)
			default:
				if f := failed(e); f != nil {
					e, err = none, f
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
