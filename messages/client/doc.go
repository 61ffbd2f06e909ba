// Package client sends and handles reliable messages in any process of a filer,
// through the local socket of its daemon; package messages is what the daemon
// does with them.
//
// A Client outlives the daemon: while that is restarted, messages wait to be sent,
// services wait to be served, and nothing is sent twice. What it sent before it
// died itself is found again by its name: see Missed.
//
// Every form is built on the asynchronous one: Go sends and returns at once, Send
// waits until the message is on disk, Call until it has been handled. Watch calls
// back when a target comes and goes, Ready waits for it.
package client
