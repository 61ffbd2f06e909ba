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
	return func(yield func(Change, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		q := url.Values{"diff": {"true"}}
		if from != nil {
			q.Set("from", strconv.FormatUint(uint64(*from), 10))
		}
		resp, err := c.do(ctx, "GET", "/v1/watch", q, nil, "", "")
		if err != nil {
			yield(Change{}, err)
			return
		}
		defer resp.Body.Close()
		lines := json.NewDecoder(bufio.NewReader(resp.Body))
		for {
			var e WatchEvent
			err := lines.Decode(&e)
			switch {
			case errors.Is(err, io.EOF):
				yield(Change{}, Refuse(ErrUnreachable, "the daemon at "+c.socket+" ended the watch: it is stopping", nil))
				return
			case err != nil:
				yield(Change{}, c.failure(ctx, "GET", err))
				return
			case e.Error != nil:
				yield(Change{}, e.Error)
				return
			case e.Change != nil && !yield(*e.Change, nil):
				return
			}
		}
	}
}
