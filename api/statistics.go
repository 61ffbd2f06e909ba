package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/netquorum/netquorum"
)

// A StatisticsBackend knows what virtual servers send and receive.
type StatisticsBackend interface {
	// Statistics tells what each filer has counted for a virtual server, or for
	// all when server is empty. ErrNotFound when there is none of that name. It
	// answers without a quorum too; a filer that does not answer within two
	// seconds is unknown.
	Statistics(ctx context.Context, server string) (Statistics, error)
}

// Statistics are what virtual servers and services sent and received.
type Statistics struct {
	Servers []ServerStatistics `json:"servers"`
}

// A ServerStatistics is one server's.
type ServerStatistics struct {
	Kind netquorum.Kind `json:"kind"`
	Name string         `json:"name"`
	// Host is the filer it is placed on; empty when none can host it.
	Host string `json:"host,omitempty"`
	// Total is the sum of what all filers that answered have counted. It falls
	// when a filer does not answer or was started again.
	Total Traffic `json:"total"`
	// Filers have what each has counted while it hosted the server. Those that
	// never did are left out.
	Filers []FilerStatistics `json:"filers"`
}

// A FilerStatistics is what one filer knows of one server. Counters are kept by
// the filer's kernel: they survive restarts of the daemon and moves of the
// server, and begin anew when the filer is started.
type FilerStatistics struct {
	Filer string `json:"filer"`
	// Hosts is set on the filer that hosts the server now.
	Hosts bool `json:"hosts,omitempty"`
	// Unknown says why the traffic is not known, when it is not.
	Unknown   string              `json:"unknown,omitempty"`
	Traffic   *Traffic            `json:"traffic,omitempty"`
	Addresses []AddressStatistics `json:"addresses,omitempty"`
	// Sockets are those of the filer that hosts the server.
	Sockets        *SocketStatistics `json:"sockets,omitempty"`
	SocketsUnknown string            `json:"socketsUnknown,omitempty"`
}

// An AddressStatistics is one address's part.
type AddressStatistics struct {
	Address netip.Addr `json:"address"`
	// Since is when this filer began to count for the server at this address.
	Since   time.Time `json:"since"`
	Traffic Traffic   `json:"traffic"`
}

// A Traffic is what was sent and received. IP is all of it.
type Traffic struct {
	IP  Flow `json:"ip"`
	TCP Flow `json:"tcp"`
	UDP Flow `json:"udp"`
	// TCPOpens are the first segments of TCP connections: in, those that clients
	// tried to open; out, those that the server tried.
	TCPOpens Flow `json:"tcpOpens"`
	// TCPResets are segments that end a connection at once, or refuse it.
	TCPResets Flow `json:"tcpResets"`
}

// A Flow is both directions.
type Flow struct {
	In  Count `json:"in"`
	Out Count `json:"out"`
}

// A Count is a number of packets and of their bytes from the IP headers on.
// Packets that the network card has joined, or will split, count as one.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// A SocketStatistics is what the sockets that are open now say: those bound to
// the server's addresses. Listening on the wildcard address is listening for all
// servers, and belongs to none.
type SocketStatistics struct {
	// TCP has the number of sockets in each state, by the names that ss uses.
	TCP map[string]int `json:"tcp,omitempty"`
	// Retransmits are the segments that open connections have sent again.
	Retransmits uint64 `json:"retransmits"`
	// RTT is the median round trip time of established connections.
	RTT Duration `json:"rtt,omitempty"`
	// Unread and Unsent are bytes that wait for programs to read them, and for
	// clients to acknowledge them.
	Unread uint64 `json:"unread"`
	Unsent uint64 `json:"unsent"`
	// UDP is the number of UDP sockets; UDPDrops are the datagrams that they had
	// no room for.
	UDP      int    `json:"udp"`
	UDPDrops uint64 `json:"udpDrops"`
}

// Plus adds.
func (c Count) Plus(o Count) Count { return Count{c.Packets + o.Packets, c.Bytes + o.Bytes} }

// Plus adds.
func (f Flow) Plus(o Flow) Flow { return Flow{f.In.Plus(o.In), f.Out.Plus(o.Out)} }

// Plus adds.
func (t Traffic) Plus(o Traffic) Traffic {
	return Traffic{t.IP.Plus(o.IP), t.TCP.Plus(o.TCP), t.UDP.Plus(o.UDP), t.TCPOpens.Plus(o.TCPOpens), t.TCPResets.Plus(o.TCPResets)}
}

func (s *Server) getStatistics(w http.ResponseWriter, r *http.Request) error {
	st, err := s.backend.Statistics(r.Context(), param(r, "vserver"))
	if err != nil {
		return err
	}
	st.Servers = list(st.Servers)
	for i := range st.Servers {
		st.Servers[i].Filers = list(st.Servers[i].Filers)
	}
	return answer(w, st)
}

// Statistics asks what virtual servers sent and received: one, or all when
// server is empty.
func (c *Client) Statistics(ctx context.Context, server string) (st Statistics, err error) {
	q := url.Values{}
	if server != "" {
		q.Set("vserver", server)
	}
	return st, c.get(ctx, "/v1/statistics", q, &st)
}

// A ServerTraffic is the short form of a server's statistics, as its host has
// them.
type ServerTraffic struct {
	In          Count `json:"in"`
	Out         Count `json:"out"`
	Connections int   `json:"connections"` // established, of TCP
}
