// Package bootcache keeps what a filer boots from when there is no quorum: the
// configuration as far as the network needs it, in two files of which a crash
// can spoil one at most.
package bootcache
