/*
 * src/config/local/console.h of an iPXE source tree: servers are watched over a serial line (the speed is in serial.h,
 * 115200 unless changed). UEFI's own console is on the serial line already, and a UEFI build with CONSOLE_SERIAL beside it
 * was seen to hang; so BIOS only. Where the BIOS copies its screen to the serial line, every text then comes twice: leave
 * this file out.
 */
#ifdef PLATFORM_pcbios
#undef CONSOLE_SERIAL
#define CONSOLE_SERIAL
#endif
