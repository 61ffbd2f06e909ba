// Package store keeps the configuration on all filers of a cluster: a raft node
// with its log and snapshots, over the state machine of package fsm.
//
// A transaction may be proposed on any filer. The leader groups what arrives at
// the same time into one log entry, so that many writers share one disk write,
// and a proposer retries across changes of leader with the same request id until
// its context ends; package fsm recognises a repetition. Reads are linearizable
// when asked to be, through a read index of the leader, and otherwise come from
// this filer's own state and may be old.
//
// What a caller sees as State is immutable, and one pointer: reading it takes no
// lock and never waits for the log.
package store
