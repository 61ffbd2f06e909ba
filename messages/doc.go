// Package messages carries messages between services on filers, through crashes,
// restarts and failed paths. A message is on the sender's disk before Send
// returns; its completion means that the handler returned, not that bytes arrived.
//
// # Parts
//
// A Node is a filer's outbox and inbox in one bolt file. All that is to be written
// goes through one committer, which makes one transaction, with one sync, of what
// waits (commit.go). A client's messages (client.go, box.go, send.go) stand in
// streams (outstream.go) to targets (peer.go). With each target that there is
// something for, a node keeps a session (outsession.go, bulk.go). The other end of a
// session (insession.go) puts what arrives (arrive.go, upload.go) into the streams
// of the inbox, from which handlers are called (dispatch.go, transact.go, serve.go,
// delivery.go). What nobody comes for is collected (collect.go), and the room that it
// had is given back at the next start (files.go, shrink.go).
//
// # Once and only once
//
// A message is named by filer, client, the client's incarnation and a number. Its
// life has these steps, each on disk before the next:
//
//  1. in the sender's outbox; Send returns
//  2. in the receiver's inbox: accepted
//  3. handled; with a transactional handler in one transaction with its effect
//  4. the completion in the client's box, and the message out of the outbox
//  5. settled: the receiver forgets it
//
// Until 4 the sender puts the message again with each new session; until 5 the
// receiver knows it and answers with what became of it. What follows 5 must not be
// the message once more, so a settlement travels behind the message on the same
// stream, and a new session begins when all of the former one has been read;
// streams of former sessions are refused for ever (their numbers grow, and the
// newest of each sender is on disk).
//
// # Virtual servers
//
// A message to a virtual server goes to the filer that hosts it, with the epoch of
// that placement, and is handled only while that filer hosts the server in that
// very epoch. Otherwise the filer refuses this attempt, on its disk, and says who
// hosts the server. Only after the refusal the sender chooses another target, so
// that no two filers can have one message at the same time. There is one
// exception: a target that has been out of reach for Config.GoneAfter while a later
// placement exists is given up without its refusal. It may have handled the message
// before it was lost: the handler of the new host then is the second.
//
// A sender that learns of a later placement first recalls what the former host has
// not begun. Messages of one stream are never under way to two hosts: the next host
// gets them when the former one has completed or refused them all.
//
// # Wire form
//
// A session is a stream of class Control and, when it is needed, one of class Bulk.
// Both begin with a hello of the sender. Numbers are in big-endian. A frame is
//
//	length   4 bytes, of what follows, at most 128 KiB
//	kind     1 byte
//	payload
//
// A string is a length of 2 bytes and so many bytes. A ref is the client's name as
// a string, its incarnation (8 bytes) and the message's number (8 bytes); the filer
// is that which opened the session. The kinds are, → from the sender of messages
// and ← from their receiver:
//
//	 1 hello     → "nqmg", version (2), incarnation of the sender's directory (8),
//	               number of the session (8), class (1: 0 control, 1 bulk)
//	 2 welcome   ← version (2); after all that the sender had missed
//	 3 put       → envelope, then the body unless it is spooled
//	 4 accepted  ← ref, attempt (4)
//	 5 busy      ← ref, attempt (4): not taken, there is no room
//	 6 ready     ← service: there is room again
//	 7 refused   ← ref, priority (1), attempt (4), host (string, may be empty), its epoch (8)
//	 8 completed ← ref, priority (1), outcome (1), epoch (8), error (string), the result
//	 9 settle    → ref, attempt (4); on the stream of the message's priority
//	10 want      ← ref, offset (8): the body from there on
//	11 chunk     → ref, offset (8), 1 byte to 64 KiB; on the bulk stream
//	12 recall    → virtual server, epoch (8): a placement of that epoch exists
//	13 goodbye   ← a reason; the session ends
//
// An envelope is: ref; service, filer, virtual server, stream (strings, one of
// filer and server is empty); priority (1: 0 control, 1 bulk); discard (1); trace
// (8); when it was sent (8, nanoseconds since 1970); attempt (4); epoch (8); size of
// the body (8); spooled (1), and if so the SHA-256 of the body (32).
//
// Messages of priority bulk are put on the bulk stream, and so is every body of more
// than 32 KiB, in chunks that take turns with those of other bodies. The sender puts
// after the welcome, the messages of a stream in the order of their numbers.
// Versions: a receiver that does not know a hello's version says goodbye.
package messages
