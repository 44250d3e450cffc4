package yealink

import "time"

// zone is how a phone's files name a time zone: hours from UTC and one of the firmware's own names, by which it knows when
// summer time begins.
type zone struct{ iana, offset, name string }

// zones are those whose name in the firmware is the same in all public lists that were compared (FusionPBX, AskoziaPBX,
// OpenUC); for others the inventory's settings say local_time.time_zone themselves.
func zones() []zone {
	return []zone{
		{"Etc/UTC", "0", "GMT"},
		{"UTC", "0", "GMT"},
		{"Europe/London", "0", "United Kingdom(London)"},
		{"Europe/Dublin", "0", "Ireland(Dublin)"},
		{"Europe/Lisbon", "0", "Portugal(Lisboa,Porto,Funchal)"},
		{"Atlantic/Canary", "0", "Spain-Canary Islands(Las Palmas)"},
		{"Europe/Amsterdam", "+1", "Netherlands(Amsterdam)"},
		{"Europe/Berlin", "+1", "Germany(Berlin)"},
		{"Europe/Brussels", "+1", "Belgium(Brussels)"},
		{"Europe/Budapest", "+1", "Hungary(Budapest)"},
		{"Europe/Copenhagen", "+1", "Denmark(Kopenhagen)"},
		{"Europe/Luxembourg", "+1", "Luxembourg(Luxembourg)"},
		{"Europe/Madrid", "+1", "Spain(Madrid)"},
		{"Europe/Paris", "+1", "France(Paris)"},
		{"Europe/Prague", "+1", "Czech Republic(Prague)"},
		{"Europe/Rome", "+1", "Italy(Rome)"},
		{"Europe/Vienna", "+1", "Austria(Vienna)"},
		{"Europe/Zagreb", "+1", "Croatia(Zagreb)"},
		{"Europe/Athens", "+2", "Greece(Athens)"},
		{"Europe/Bucharest", "+2", "Romania(Bucharest)"},
		{"Europe/Helsinki", "+2", "Finland(Helsinki)"},
		{"Europe/Riga", "+2", "Latvia(Riga)"},
		{"Europe/Tallinn", "+2", "Estonia(Tallinn)"},
		{"Asia/Singapore", "+8", "Singapore(Singapore)"},
		{"Asia/Shanghai", "+8", "China(Beijing)"},
		{"America/New_York", "-5", "United States-Eastern Time"},
		{"America/Chicago", "-6", "United States-Central Time"},
		{"America/Denver", "-7", "United States-Mountain Time"},
		{"America/Los_Angeles", "-8", "United States-Pacific Time"},
	}
}

// Zone gives local_time.time_zone and local_time.time_zone_name of an IANA time zone; false: not in the table.
func Zone(iana string) (offset, name string, ok bool) {
	for _, z := range zones() {
		if z.iana == iana {
			return z.offset, z.name, true
		}
	}
	return "", "", false
}

// Language gives lang.gui of an ISO 639 code; empty: the firmware brings no such language, and the phone keeps its own.
func Language(code string) string {
	return map[string]string{
		"en": "English", "de": "German", "fr": "French", "it": "Italian", "es": "Spanish", "pt": "Portuguese",
		"pl": "Polish", "tr": "Turkish",
	}[code]
}

// KeyTypes are the line keys that the inventory knows, with linekey.X.type (Wazo's provd plugin for Yealink V86).
func KeyTypes() map[string]int {
	return map[string]int{"none": 0, "park": 10, "speeddial": 13, "line": 15, "blf": 16}
}

// Transports are the transports of SIP with sip_server.X.transport_type.
func Transports() map[string]int { return map[string]int{"udp": 0, "tcp": 1, "tls": 2} }

// AddressModes are the words for static.network.ip_address_mode.
func AddressModes() map[string]int { return map[string]int{"ipv4": 0, "ipv6": 1, "dual": 2} }

// MinRepeat and MaxRepeat bound how often a phone may look for new files (auto_provision.repeat.minutes: 1 to 43200).
const (
	MinRepeat = time.Minute
	MaxRepeat = 43200 * time.Minute
)
