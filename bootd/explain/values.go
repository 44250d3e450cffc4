package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
)

// values lists what the cascade gave a host, by key.
func values(file string, h *site.Host) []Value {
	keys := make([]string, 0, len(h.Origins))
	for k := range h.Origins {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]Value, 0, len(keys))
	for _, k := range keys {
		text, ok := valueOf(h, k)
		if !ok {
			continue
		}
		o := h.Origins[k]
		v := Value{Key: k, Value: text, From: o.From}
		if o.Pos.Line > 0 {
			v.Place = linePlace(file, o.Pos)
		}
		out = append(out, v)
	}
	return out
}

// valueOf writes one value for people; password hashes are not shown.
func valueOf(h *site.Host, key string) (string, bool) {
	if name, ok := strings.CutPrefix(key, "vars."); ok {
		v, ok := h.Vars[name]
		return fmt.Sprint(v), ok
	}
	switch key {
	case "profile":
		if h.Profile == nil {
			return "", false
		}
		return h.Profile.Name, true
	case "disk":
		return h.Disk.String(), h.HasDisk
	case "users":
		names := make([]string, len(h.Users))
		for i, u := range h.Users {
			names[i] = u.Name
		}
		return strings.Join(names, ", "), true
	case "packages":
		return strings.Join(h.Packages, ", "), true
	case "ntp":
		return strings.Join(h.NTP, ", "), true
	case "protected":
		return strconv.FormatBool(h.Protected), true
	case "uuid":
		return h.UUID.String(), h.UUID.Identifies()
	}
	text, ok := map[string]string{
		"domain": h.Domain, "locale": h.Locale, "language": h.Language, "country": h.Country, "keyboard": h.Keyboard,
		"timezone": h.Timezone, "addressing": h.Addressing, "kernel_args": h.KernelArgs, "console": h.Console,
		"loader": h.Loader, "serial": h.Serial,
	}[key]
	return text, ok
}

func linePlace(file string, at inventory.Pos) string {
	return fmt.Sprintf("%s:%d:%d", file, at.Line, at.Col)
}
