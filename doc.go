// Package netquorum holds the nouns of a filer cluster's network: the cluster,
// its filers and filer groups, their interfaces, the virtual servers that move
// between them, route policies and opaque records, with the rules that make a
// set of them a configuration.
//
// It imports nothing else of the project, so that every other package may
// import it. Nothing here touches a clock, a disk, a socket or the kernel.
package netquorum
