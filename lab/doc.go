// Package lab builds filers, switches and clients out of network namespaces on
// one Linux machine and runs the real daemon in them.
//
// A node is a small machine: a network namespace, a process namespace with an
// init process of ours, and a mount namespace with its own /run, /sys and
// /var/lib. Power loss is therefore real: the init process is killed, the
// kernel state goes with it, and the disk stays. Everything that a lab is lives
// below one directory, so that separate invocations of netquorum-lab work on
// it, and Down leaves nothing behind.
//
// A program that imports this package runs itself again as the init process of
// each node; see init in machine.go.
package lab
