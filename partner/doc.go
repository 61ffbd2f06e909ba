// Package partner connects this cluster with others, for mirroring.
//
// Two clusters share a secret. Whoever calls the other's port speaks TLS 1.3 with
// certificates that say nothing, and both sides prove on that very connection
// that they know the secret (proof.go): no address and no authority has a part in
// it. Proven connections are the carriers of a link to one process of the
// partner (links.go), one for each endpoint that leads there (keeper.go), so that
// a stream lives on while a path dies. streams.go says who accepts which stream.
package partner
