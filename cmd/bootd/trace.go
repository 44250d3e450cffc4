package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/trace"
)

const traceText = `
Shows DHCPv6 messages as the running daemon hears and answers them, each option by name, and beneath why it was answered so,
until interrupted. HOST is a host's name, a MAC or a DUID; without one all are shown. docs/operating.md lists the reasons.`

func traceCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write one JSON object per line")
	pcap := fs.String("pcap", "", "also write a capture `FILE`, for tcpdump and Wireshark")
	count := fs.Int("count", 0, "end after `NUMBER` messages of clients")
	return func(ctx context.Context, args []string) (err error) {
		if *count < 0 {
			return usageError{"--count wants a number, 0 for no end"}
		}
		who := ""
		if len(args) == 1 {
			who = args[0]
		}
		var show []func(trace.Exchange) error
		if out := json.NewEncoder(a.stdout); *asJSON {
			show = append(show, func(x trace.Exchange) error { return out.Encode(jsonExchange(x)) })
		} else {
			show = append(show, func(x trace.Exchange) error { return writeExchange(a.stdout, x) })
		}
		seen := 0
		var file *os.File
		// The file is made when the daemon has taken the order, so that one without a daemon or with a wrong HOST leaves an
		// older capture as it is.
		begun := func() error {
			if *pcap != "" {
				f, err := os.Create(*pcap)
				if err != nil {
					return fmt.Errorf("making the capture: %w", err)
				}
				file = f
				if _, err := file.Write(trace.CaptureHeader()); err != nil {
					return fmt.Errorf("writing the capture: %w", err)
				}
				show = append(show, func(x trace.Exchange) error {
					if len(x.Query) == 0 {
						return nil
					}
					_, err := file.Write(x.Capture())
					return err
				})
			}
			fmt.Fprintln(a.stderr, "tracing DHCPv6, interrupt to end")
			return nil
		}
		defer func() {
			if file != nil {
				err = errors.Join(err, file.Close())
			}
		}()
		failed := w.client().Trace(ctx, who, begun, func(x trace.Exchange) bool {
			for _, f := range show {
				if err = f(x); err != nil {
					return false
				}
			}
			if len(x.Query) > 0 {
				seen++
			}
			return *count == 0 || seen < *count
		})
		return errors.Join(failed, err)
	}
}

// decoded is one exchange for programs: what Exchange says, and both messages read.
type decoded struct {
	trace.Exchange
	Message *option.Message `json:"message,omitempty"`
	Answer  *option.Message `json:"answer,omitempty"`
}

func jsonExchange(x trace.Exchange) decoded {
	d := decoded{Exchange: x}
	if len(x.Query) > 0 {
		m := option.Read(x.Query)
		d.Message = &m
	}
	if len(x.Reply) > 0 {
		m := option.Read(x.Reply)
		d.Answer = &m
	}
	return d
}

// stamp is the time of day to the microsecond, as packet dumps have it.
const stamp = "15:04:05.000000"

// writeExchange writes one exchange for people.
func writeExchange(w io.Writer, x trace.Exchange) error {
	var b strings.Builder
	if x.Lost > 0 {
		fmt.Fprintf(&b, "-- %d messages before this are missing: they came faster than they could be shown\n", x.Lost)
	}
	if len(x.Query) > 0 {
		from := x.Client.String()
		if x.Client.Port() == 546 {
			from = x.Client.Addr().String()
		}
		if x.MAC != (ident.MAC{}) {
			from += " (" + x.MAC.String() + ")"
		}
		writeMessage(&b, x.Time, x.Link, "in", option.Read(x.Query), from+" > "+x.Server.String())
		if len(x.Reply) > 0 {
			writeMessage(&b, x.Time.Add(x.Took), x.Link, "out", option.Read(x.Reply), addrText(x.From)+" > "+x.Client.Addr().String())
		}
		fmt.Fprintf(&b, "    = %s\n\n", verdict(x))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "?"
	}
	return a.String()
}

func writeMessage(b *strings.Builder, at time.Time, link, way string, m option.Message, path string) {
	xid := ""
	if m.XID != "" {
		xid = " xid " + m.XID
	}
	fmt.Fprintf(b, "%s %s %s %s%s, %s\n", at.Local().Format(stamp), or(link, "?"), way, m.Name, xid, path)
	writeOptions(b, m, "    ")
}

func writeOptions(b *strings.Builder, m option.Message, indent string) {
	if m.Hops != nil {
		fmt.Fprintf(b, "%shops %d, link-address %s, peer-address %s\n", indent, *m.Hops, m.Link, m.Peer)
	}
	for _, f := range m.Options {
		writeField(b, f, indent)
	}
	if m.Broken {
		fmt.Fprintf(b, "%sthe rest cannot be read\n", indent)
	}
}

func writeField(b *strings.Builder, f option.Field, indent string) {
	fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%s%-*s %s", indent, 28-len(indent), f.Name, f.Value), " "))
	for _, inner := range f.Options {
		writeField(b, inner, indent+"  ")
	}
	if f.Message != nil {
		fmt.Fprintf(b, "%s  %s xid %s\n", indent, f.Message.Name, or(f.Message.XID, "-"))
		writeOptions(b, *f.Message, indent+"    ")
	}
}

// verdict says what was decided and by what.
func verdict(x trace.Exchange) string {
	parts := []string{x.Reason.String()}
	if len(x.Reply) == 0 {
		parts[0] += ": no answer"
	}
	if x.Host != "" {
		parts = append(parts, "host "+x.Host)
	}
	if x.Network != "" {
		parts = append(parts, "network "+x.Network)
	}
	if x.Rule != "" {
		parts = append(parts, "known by "+x.Rule)
	}
	if len(x.LeftOut) > 0 {
		names := make([]string, len(x.LeftOut))
		for i, code := range x.LeftOut {
			names[i] = fmt.Sprint(code)
			if d, ok := option.ByCode(code); ok {
				names[i] = d.Name
			}
		}
		parts = append(parts, "left out for want of room: "+strings.Join(names, ", "))
	}
	if x.Err != "" {
		parts = append(parts, x.Err)
	}
	if x.Took > 0 {
		parts = append(parts, x.Took.Round(10*time.Microsecond).String())
	}
	return strings.Join(parts, ", ")
}
