// Package sctpio has SCTP associations as net.Conn: one-to-one style sockets of
// Linux, non-blocking and with the runtime's poller, so that deadlines hold and
// Close wakes whoever waits. An association has several addresses at both ends,
// and its data goes on by another pair of them about RTOMin after the first
// falls silent.
//
// Addresses, their text and their packing are of github.com/ishidawataru/sctp;
// everything that touches a socket is here, because that package's sockets block
// threads, know no deadlines and close under the feet of their users.
// docs/decisions/0017-sctp.md has the reasons for this and for the settings.
//
// Where things are: layout.go and notification.go turn what is on the border to
// the kernel into bytes and back, and touch nothing; options.go says how
// associations are set; socket.go, dial.go, listen.go and conn.go have the effects.
package sctpio
