// Package wal is raft's log on disk: a write-ahead log that syncs once for each
// append.
//
// The log is a directory of segments, files of fixed size that are allocated
// before they are used, so that a sync writes data and no metadata. Appends go to
// the newest segment. A record is an entry or a mark that everything before it is
// void. Nothing is ever overwritten: an entry with the index of an earlier one
// takes its place and voids what followed, which is how raft shortens a log at
// its end; at its beginning whole segments are removed.
//
// What a power cut leaves half written is told from damage. Fresh space reads as
// zeros and disks write whole sectors, so a torn record has at least one sector
// of zeros, and it can only be in the last append. Such an append was never
// acknowledged, and is dropped. Anything else that is not as it was written is a
// *DamagedError, at opening or when it is read, and the files stay as they are.
package wal
