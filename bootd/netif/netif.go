// Package netif is all of bootd that touches the kernel's network: which links and addresses there are and when they
// change, whether this machine forwards, which MAC address an on-link peer has, and raw frames for router discovery
// (RFC 4861, RFC 6085).
//
// Everything follows the kernel's notifications; nothing polls. Sockets belong to the network namespace of the thread
// that opens them and are opened by the New functions, before anything runs.
//
// The package never decides anything, never changes links, addresses or routes, and never sends what its caller did not
// write.
package netif
