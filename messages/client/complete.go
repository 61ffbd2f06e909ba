package client

import (
	"context"
	"time"

	"github.com/netquorum/netquorum/api"
)

// listen gives completions to those who wait for them. It begins before all
// whenever it finds the daemon again, so that it misses none.
func (c *Client) listen() {
	wait := c.pause()
	for c.life.Err() == nil {
		for done, err := range c.api.WatchCompletions(c.life, c.cfg.Name, 0) {
			if err != nil {
				if c.life.Err() == nil {
					c.log.Debug("completions are asked for again", "error", err)
				}
				break
			}
			wait = c.pause()
			c.completed(done)
		}
		if wait.wait(c.life) != nil {
			return
		}
	}
}

func (c *Client) completed(done api.Completion) {
	c.mu.Lock()
	all := c.waiting[done.ID]
	delete(c.waiting, done.ID)
	// Another that is being sent with the same key will get the same id.
	if all == nil && len(c.sending) > 0 || all != nil && c.sending[all[0].message.Key] > 0 {
		c.early[done.ID] = done
	}
	c.mu.Unlock()
	for _, s := range all {
		s.finish(done, done.Err())
	}
	if all != nil {
		c.acknowledge(done.ID)
	}
}

// acknowledge tells the daemon to forget a completion, soon, and many at once.
func (c *Client) acknowledge(id string) {
	if c.cfg.KeepCompletions {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, id)
	if !c.acking && !c.closed {
		c.acking = true
		c.wg.Go(c.flush)
	}
}

// lastWords is how long a client that is closed tries to acknowledge what it has
// seen.
const lastWords = time.Second

func (c *Client) flush() {
	wait := c.pause()
	for {
		c.mu.Lock()
		ids := c.seen[:min(len(c.seen), 1000)]
		if len(ids) == 0 {
			c.acking, c.seen = false, nil
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), lastWords)
		err := c.api.AcknowledgeCompletions(ctx, api.Acknowledgement{Client: c.cfg.Name, IDs: ids})
		cancel()
		if err != nil && passing(err) {
			if wait.wait(c.life) == nil {
				continue
			}
			return // those that were not acknowledged are missed by nobody: they come again
		}
		c.mu.Lock()
		c.seen = c.seen[len(ids):]
		c.mu.Unlock()
	}
}

// Missed returns completions that no Sent of this process waits for: those of the
// client's earlier processes, and those that were seen and not acknowledged. The
// oldest are first, 1000 at most.
func (c *Client) Missed(ctx context.Context) ([]api.Completion, error) {
	var out []api.Completion
	after := uint64(0)
	for len(out) < 1000 {
		found, err := c.api.Completions(ctx, c.cfg.Name, after, 0, 0)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			break
		}
		c.mu.Lock()
		for _, done := range found {
			after = done.Position
			if c.waiting[done.ID] == nil && (len(c.sending) == 0 || c.early[done.ID].ID == "") {
				out = append(out, done)
			}
		}
		c.mu.Unlock()
	}
	return out, nil
}

// Acknowledge tells the daemon that completions were seen, for good.
func (c *Client) Acknowledge(ctx context.Context, ids ...string) error {
	return c.api.AcknowledgeCompletions(ctx, api.Acknowledgement{Client: c.cfg.Name, IDs: ids})
}
