// Package calls carries requests and their answers over one connection, many at
// once: those of the local API, and those of filers to each other.
//
// It is for callers that ask small things often. A connection of HTTP/1.1 carries
// one request at a time, so that many callers need many connections and each
// request costs several system calls and changes of goroutine. Here requests and
// answers are frames that share a connection: what is ready goes out in one write,
// and answers come in any order. Handlers are ordinary net/http.
//
// An answer arrives whole, so that what has no end belongs on a stream of its own.
//
// A server offers programs, each in a range of versions, and says so first. The
// caller uses the highest version that both have, so that a filer with a newer
// release and one with an older understand each other.
//
// A frame is, with numbers in big-endian:
//
//	length   4 bytes, of what follows
//	kind     1 byte
//	call     4 bytes, chosen by the caller, which is in use until its answer
//
// and then, by kind:
//
//	1 request  which of the programs in the hello 1 byte, version 2 bytes, trace
//	           id 8 bytes (0 for none), timeout in milliseconds 4 bytes (0 for
//	           none), method, target, content type, accept, then the body
//	2 answer   status 2 bytes, trace id 8 bytes, content type, then the body
//	3 cancel   nothing: the caller does not wait any more; an answer may still come
//	4 hello    the server's first frame, with call 0: the longest body that it
//	           takes 4 bytes, how many programs 1 byte, for each its name and the
//	           lowest and highest version, 2 bytes each. What follows them is for
//	           later releases to say
//	5 refused  why: the request was not looked at, and had no effect
//
// where each of the words is a length of 2 bytes and so many bytes.
package calls
