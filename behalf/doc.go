// Package behalf lets a program speak as a virtual server: with its address and
// by its routes (N25). Firmware daemons written in Go use it to dial out and to
// listen; `netquorum exec` does the same to any command.
//
//	d := behalf.Dialer{Server: "vsvra"}
//	conn, err := d.DialContext(ctx, "tcp", "10.9.0.5:389")
//
// What the server is on this filer comes from the netquorum daemon, each time: a
// server that has moved away is refused with the name of its host, and one whose
// addresses were changed is spoken for with the new ones. Programs that know
// better give a Given.
//
// A daemon that is to answer on all virtual servers needs nothing of this: it
// listens on the wildcard address, and its answers leave by the address, and so
// by the routes, that they were asked at.
package behalf
