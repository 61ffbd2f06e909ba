// Package transport is how filers talk: one port, TLS 1.3 in which both sides show
// a certificate of the cluster's own authority, and one link to each other filer
// over every path there is. Streams of the link have a service and a class, so
// that raft, requests and messages are versioned apart from each other and do not
// get in each other's way. A peer is its filer id, never its address.
//
// It knows nothing of what is said over the connections, and it does not keep
// the list of members: a Resolver says where a filer may be reached, and Allow
// says whether it still belongs.
package transport
