// Package fsm is the replicated state machine: transactions over documents go
// in, a new immutable state and one result for each transaction come out.
//
// It is a function. No clock, randomness, map order, host name or local file
// decides anything here, so every filer that applies the same log has the same
// state, byte for byte. Times and request ids are filled in by whoever proposes.
package fsm
