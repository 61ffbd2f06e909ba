// Package failover decides which filer hosts which virtual server, and who may
// answer for one at all: placement is a pure function, and a lease is the right
// to host, which ends by itself when contact with the leader is lost.
//
// It moves nothing. Package agent commits what Place decides and netapply makes
// the kernel follow.
package failover
