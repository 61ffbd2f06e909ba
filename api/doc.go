// Package api is how operators and other programs talk to the daemon of a
// filer: HTTP and JSON on a local socket, described by an OpenAPI document.
//
// Server turns requests into calls of a Backend, which the agent implements;
// Client is the other end, used by the command line tool and by programs that
// embed it. Nothing here decides anything about the configuration.
package api
