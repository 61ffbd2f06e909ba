// Package raftwire is how filers put raft's calls on a stream. It only encodes and
// decodes; package store decides what is sent when.
//
// The filer that opens a stream makes the calls on it, and the one that accepts it
// answers them, in any order. Before its first call the caller sends a preamble of
// eight bytes: "nq-raft" and the version, one byte. Everything else, in both
// directions, is frames, with numbers in big-endian:
//
//	length   4 bytes, of what follows
//	kind     1 byte
//	call     4 bytes, chosen by the caller; 0 for what concerns the stream
//	payload
//
// The payload of a call and of its answer is a message of raft: its fields in the
// order of their declaration, those of its header first. Integers and lengths are
// unsigned varints; a bool is one byte; bytes are their length and themselves; a
// time is its seconds since 1970 as a signed varint, and its nanoseconds. Nothing
// may follow the last field: a field more is a version more.
//
// A snapshot is an Install call whose data follows in Chunk frames of the same
// call: the offset, 8 bytes, and up to 64 KiB. What raft has taken is acknowledged by
// Taken frames, which hold the number of bytes so far, a varint: one for each chunk,
// and more when a chunk takes long. The stream carries nothing else meanwhile.
//
// A preamble of another version is answered with a Failure of call 0 and the end of
// the stream. Preamble, frame header and Failure stay as they are in every version,
// so that the refusal can always be read.
package raftwire
