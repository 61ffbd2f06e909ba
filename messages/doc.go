// Package messages carries messages between services on filers, through crashes,
// restarts and failed paths. A message is on the sender's disk before Send
// returns; its completion means that the handler returned, not that bytes arrived.
package messages
