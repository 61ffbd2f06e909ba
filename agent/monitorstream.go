package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
)

// serviceInterfaces is that of streams on which a filer tells how its interfaces
// change, one JSON event a line, until the other end closes.
const serviceInterfaces transport.Service = "netquorum-interfaces/1"

// serveInterfaces tells other filers that ask of this one's interfaces, until the
// context ends.
func (m *member) serveInterfaces(ctx context.Context) error {
	l := m.endpoint.Service(serviceInterfaces)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var telling sync.WaitGroup
	defer telling.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return ctx.Err() // it is only closed
		}
		telling.Go(func() { m.agent.tellInterfaces(ctx, conn) })
	}
}

// tellInterfaces tells one filer until that, or this, has had enough.
func (a *Agent) tellInterfaces(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close()
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // a peer that does not read is not waited for
	reading.Go(func() {
		_, _ = io.Copy(io.Discard, conn) // nothing comes but the end
		cancel()
	})
	encode := json.NewEncoder(conn)
	if a.monitor == nil {
		_ = encode.Encode(api.InterfaceEvent{Error: api.ErrorOf(errNoMonitor)}) // if it fails nobody listens
		return
	}
	a.watchInterfaces(ctx, func(e api.InterfaceEvent) bool { return encode.Encode(e) == nil })
}

// watchInterfacesOf passes on what another filer's monitor tells.
func watchInterfacesOf(ctx context.Context, endpoint *transport.Endpoint, id netquorum.FilerID, yield func(api.InterfaceEvent, error) bool) {
	lost := func(err error) { yield(api.InterfaceEvent{}, fmt.Errorf("%w: %w", api.ErrUnreachable, err)) }
	conn, err := endpoint.Open(ctx, id, serviceInterfaces, link.Control)
	if err != nil {
		lost(err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := json.NewDecoder(conn)
	for {
		var e api.InterfaceEvent
		switch err := lines.Decode(&e); {
		case ctx.Err() != nil:
			lost(ctx.Err())
			return
		case errors.Is(err, io.EOF):
			lost(errors.New("the filer ended the watch: its daemon is stopping"))
			return
		case err != nil:
			lost(err)
			return
		case e.Error != nil:
			yield(api.InterfaceEvent{}, e.Error)
			return
		}
		if !yield(e, nil) {
			return
		}
	}
}
