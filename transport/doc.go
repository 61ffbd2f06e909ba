// Package transport is how filers talk: one TCP port, TLS 1.3 in which both
// sides show a certificate of the cluster's own authority, and a service chosen
// by ALPN, so that raft, requests and joining are versioned apart from each
// other. A peer is its filer id, never its address.
//
// It knows nothing of what is said over the connections, and it does not keep
// the list of members: a Resolver says where a filer may be reached, and Allow
// says whether it still belongs.
package transport
