// Package netapply makes the kernel of one filer match the configuration.
//
// It works in three stages, and only the first and the last touch the kernel:
//
//	observe   read links, addresses, routes and rules through netlink
//	plan      pure: what is wanted, what is there -> steps in a safe order
//	execute   do the steps, one failing object not stopping the others
//
// A step is data and prints like the ip command that an operator would type;
// logs, dry runs and tests show that text. What belongs to the product in the
// kernel, and therefore may be changed or removed by it, is decided in
// ownership.go and nowhere else.
package netapply
