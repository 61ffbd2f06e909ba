// Package sockhook makes programs that know nothing of virtual servers speak as
// one: a small BPF program at each of a control group's socket hooks binds the
// sockets of whatever runs in it, to a VRF or to a source address. It is what
// "ip vrf exec" does, and more, as not every server has a VRF.
//
// The programs are written here, instruction by instruction, and loaded through
// bpf(2): nothing is compiled, and nothing but the kernel is needed. Linux 5.7
// has all that they use.
package sockhook
