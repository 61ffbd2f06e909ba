// Package link makes one session between two processes out of many carriers.
//
// A carrier is an authenticated connection over one path (TLS over TCP, TLS over
// SCTP, or the in-memory twin in package memlink). Carriers come and go; what is
// opened over the link, its streams, lives as long as both processes do:
// each byte of a stream has an offset and is kept until the peer has it, so a
// carrier that falls silent costs a rewind and no data.
//
// Where the decisions are: choose.go says which carrier is used, send.go and
// recv.go what a stream sends and takes, frame.go and control.go what is on the
// wire. They know of no clock and no connection. Effects are in carrier.go and
// take.go (what is read), write.go (what is written) and tick.go (time).
//
// A link has one lock. It is given up in two places: while a carrier is written
// to (Carrier.writeOnce) and while a callback runs (Stream.handle, Stream.pump).
// What calls these, kick above all, does so last or looks at everything anew.
package link
