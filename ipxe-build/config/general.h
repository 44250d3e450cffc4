/*
 * src/config/local/general.h of an iPXE source tree: what a machine on an IPv6-only rack needs of iPXE, and what a person
 * at its console wants. Each line says what is missing without it. iPXE of 2016 or newer has all of these names; where a
 * newer one has the option on already, the line changes nothing.
 */

/* BIOS builds have no IPv6 otherwise. */
#undef NET_PROTO_IPV6
#define NET_PROTO_IPV6

/* https:// for kernels and scripts on other servers; bootd itself serves http. Build with TRUST= and CERT= (README.md). */
#undef DOWNLOAD_PROTO_HTTPS
#define DOWNLOAD_PROTO_HTTPS

/* The end of a script for a machine without a disk, and a way out of the shell. */
#undef REBOOT_CMD
#define REBOOT_CMD
#undef POWEROFF_CMD
#define POWEROFF_CMD

/* To look at a machine that does not boot: ping and nslookup speak IPv6, nstat lists neighbours, ipstat counts packets. */
#undef PING_CMD
#define PING_CMD
#undef NSLOOKUP_CMD
#define NSLOOKUP_CMD
#undef NEIGHBOUR_CMD
#define NEIGHBOUR_CMD
#undef IPSTAT_CMD
#define IPSTAT_CMD
#undef CONSOLE_CMD
#define CONSOLE_CMD

/* A script that posts what it finds (params), that needs the time for TLS (ntp), or that boots over a tagged VLAN (vcreate). */
#undef PARAM_CMD
#define PARAM_CMD
#undef NTP_CMD
#define NTP_CMD
#undef VLAN_CMD
#define VLAN_CMD

/* Two seconds in which a key press stops the boot, not more: tenths of a second. */
#undef BANNER_TIMEOUT
#define BANNER_TIMEOUT 20
