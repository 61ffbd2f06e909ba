// Package statistics counts what each virtual server sends and receives, and
// looks at its open connections (N22).
//
// Packets and bytes are counted by the kernel: table inet netquorum_count has a
// set for each thing that is counted, and in each set an element with a counter
// for every address of every virtual server that is configured, wherever it is
// hosted. So nothing changes when a server moves, no packet of its first
// millisecond is missed, and what a filer has counted for it stays: a counter
// falls only when the filer is started again or somebody else removes the table.
//
// Connections are read from the kernel when somebody asks (inet_diag).
//
// The package reads the kernel and writes that one table; it decides nothing
// about hosting and is never in the way of a move.
package statistics
