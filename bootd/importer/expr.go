package importer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// pretend is a client as servers see it: the options by which configurations tell boot clients apart. Original and import
// are compared by asking both what each of them is told.
type pretend struct {
	name string
	// arch is the processor architecture type (RFC 5970 section 3.3), loader the inventory's word for it.
	arch   uint16
	loader string
	ipxe   bool
	http   bool
}

// boots are the clients that matter: firmware by PXE and by HTTP, and iPXE on each of them.
func boots() []pretend {
	return []pretend{
		{name: "x86-64 firmware (PXE)", arch: 7, loader: "x86_64"},
		{name: "x86-64 firmware of type 9 (PXE)", arch: 9, loader: "x86_64"},
		{name: "x86-64 firmware (HTTP boot)", arch: 16, loader: "x86_64", http: true},
		{name: "arm64 firmware (PXE)", arch: 11, loader: "arm64"},
		{name: "arm64 firmware (HTTP boot)", arch: 19, loader: "arm64", http: true},
		{name: "arm firmware (PXE)", arch: 10, loader: "arm"},
		{name: "x86 firmware (PXE)", arch: 6, loader: "x86"},
		{name: "a BIOS (PXE)", arch: 0, loader: "bios"},
		{name: "iPXE on x86-64 firmware", arch: 7, loader: "x86_64", ipxe: true},
		{name: "iPXE on arm64 firmware", arch: 11, loader: "arm64", ipxe: true},
		{name: "iPXE on a BIOS", arch: 0, loader: "bios", ipxe: true},
	}
}

// Options by which boot clients are told apart.
const (
	optUserClass   = 15
	optVendorClass = 16
	optBootfileURL = 59
	optNII         = 62
	optArch        = 61
	enterprise     = 343 // Intel's, in the vendor class of every boot client
)

func (p pretend) vendor() string {
	class := "PXEClient"
	if p.http {
		class = "HTTPClient"
	}
	return fmt.Sprintf("%s:Arch:%05d:UNDI:003000", class, p.arch)
}

// option is the content of an option of the client.
func (p pretend) option(code int) ([]byte, bool) {
	switch code {
	case optUserClass:
		if !p.ipxe {
			return nil, false
		}
		return []byte("\x00\x04iPXE"), true
	case optVendorClass:
		v := p.vendor()
		return append([]byte{0, 0, enterprise >> 8, enterprise & 0xff, 0, byte(len(v))}, v...), true
	case optArch:
		return []byte{0, byte(p.arch)}, true
	case optNII:
		return []byte{1, 3, 0}, true
	}
	return nil, false
}

// errUnread: an expression asks for more than which boot client it is.
var errUnread = errors.New("it asks for more than the kind of boot client")

// word is a token of an expression.
type word struct {
	text string
	// quoted: it stood in quotes, text is its content.
	quoted bool
	line   int
}

// expression evaluates a test of Kea's client classes or of dhcpd's conditionals for one client. It knows what tests of boot
// clients use; anything else is errUnread.
type expression struct {
	words  []word
	client pretend
	// member gives the result of another client class, code the number of an option's name.
	member func(name string) (bool, error)
	code   func(name string) (int, bool)
	depth  int
	err    error
}

// value is octets or a truth.
type value struct {
	octets []byte
	truth  bool
	isBool bool
}

func truth(b bool) value { return value{truth: b, isBool: true} }

// holds evaluates the whole.
func (e *expression) holds() (bool, error) {
	v := e.or()
	switch {
	case e.err != nil:
		return false, e.err
	case len(e.words) > 0 || !v.isBool:
		return false, errUnread
	}
	return v.truth, nil
}

func (e *expression) fail() value {
	if e.err == nil {
		e.err = errUnread
	}
	e.words = nil
	return value{}
}

func (e *expression) peek() string {
	if len(e.words) == 0 || e.words[0].quoted {
		return ""
	}
	return e.words[0].text
}

func (e *expression) take(text string) bool {
	if e.peek() != text {
		return false
	}
	e.words = e.words[1:]
	return true
}

// want takes one word or fails.
func (e *expression) want(text string) bool {
	if e.take(text) {
		return true
	}
	e.fail()
	return false
}

func (e *expression) next() word {
	if len(e.words) == 0 {
		e.fail()
		return word{}
	}
	w := e.words[0]
	e.words = e.words[1:]
	return w
}

func (e *expression) or() value {
	v := e.and()
	for e.take("or") {
		r := e.and()
		if !v.isBool || !r.isBool {
			return e.fail()
		}
		v.truth = v.truth || r.truth
	}
	return v
}

func (e *expression) and() value {
	v := e.not()
	for e.take("and") {
		r := e.not()
		if !v.isBool || !r.isBool {
			return e.fail()
		}
		v.truth = v.truth && r.truth
	}
	return v
}

// maxDepth bounds nesting, of expressions, blocks and maps alike.
const maxDepth = 64

func (e *expression) not() value {
	if e.depth++; e.depth > maxDepth {
		return e.fail()
	}
	defer func() { e.depth-- }()
	if e.take("not") {
		v := e.not()
		if !v.isBool {
			return e.fail()
		}
		return truth(!v.truth)
	}
	return e.compare()
}

func (e *expression) compare() value {
	l := e.operand()
	switch op := e.peek(); op {
	case "=", "==", "!=":
		e.words = e.words[1:]
		r := e.operand()
		if l.isBool || r.isBool {
			return e.fail()
		}
		return truth(bytes.Equal(l.octets, r.octets) == (op != "!="))
	case "~=", "~~":
		e.words = e.words[1:]
		pattern := e.operand()
		re, err := regexp.Compile("(?s)" + map[string]string{"~=": "", "~~": "(?i)"}[op] + string(pattern.octets))
		if err != nil || l.isBool || pattern.isBool {
			return e.fail()
		}
		return truth(re.Match(l.octets))
	}
	return l
}

func (e *expression) operand() value {
	w := e.next()
	if w.quoted {
		return value{octets: []byte(w.text)}
	}
	switch w.text {
	case "(":
		v := e.or()
		e.want(")")
		return v
	case "substring":
		return e.substring()
	case "concat":
		return e.concat()
	case "exists":
		_, ok := e.option(e.next().text)
		return truth(ok)
	case "option":
		return e.optionOf()
	case "vendor-class":
		return e.vendorClass()
	case "member":
		return e.memberOf()
	}
	return e.literal(w.text)
}

// optionOf reads option[61].hex of Kea or option dhcp6.client-arch-type of dhcpd.
func (e *expression) optionOf() value {
	if !e.take("[") {
		v, _ := e.option(e.next().text)
		return value{octets: v}
	}
	v, ok := e.option(e.next().text)
	if !e.want("]") {
		return value{}
	}
	switch e.next().text {
	case ".exists":
		return truth(ok)
	case ".hex", ".text":
		return value{octets: v}
	}
	return e.fail()
}

// option is the content of an option that is named by number or by name.
func (e *expression) option(name string) ([]byte, bool) {
	code, err := strconv.Atoi(name)
	if err != nil {
		var known bool
		if code, known = e.code(name); !known {
			e.fail()
			return nil, false
		}
	}
	v, ok := e.client.option(code)
	if !ok && code != optUserClass {
		e.fail() // a client may have it: who knows
	}
	return v, ok
}

// vendorClass reads vendor-class[343].data[0] and its like.
func (e *expression) vendorClass() value {
	e.want("[")
	number := e.next().text
	if !e.want("]") {
		return value{}
	}
	ours := number == "*" || number == strconv.Itoa(enterprise)
	switch e.next().text {
	case ".exists":
		return truth(ours)
	case ".data":
		index := "0"
		if e.take("[") {
			index = e.next().text
			e.want("]")
		}
		if !ours || index != "0" {
			return value{}
		}
		return value{octets: []byte(e.client.vendor())}
	}
	return e.fail()
}

func (e *expression) memberOf() value {
	e.want("(")
	name := e.next()
	if !e.want(")") {
		return value{}
	}
	ok, err := e.member(name.text)
	if err != nil {
		return e.fail()
	}
	return truth(ok)
}

// substring is the one of both languages: from a start, so many octets, or all.
func (e *expression) substring() value {
	e.want("(")
	v := e.or()
	e.want(",")
	start := e.next().text
	e.want(",")
	count := e.next().text
	if !e.want(")") || v.isBool {
		return e.fail()
	}
	from, err := strconv.Atoi(start)
	if err != nil || from < 0 {
		return e.fail()
	}
	n, err := strconv.Atoi(count)
	if count == "all" {
		n, err = len(v.octets), nil
	}
	if err != nil || n < 0 {
		return e.fail()
	}
	from = min(from, len(v.octets))
	return value{octets: v.octets[from : from+min(n, len(v.octets)-from)]}
}

func (e *expression) concat() value {
	e.want("(")
	var all []byte
	for {
		v := e.or()
		if v.isBool || e.err != nil {
			return e.fail()
		}
		all = append(all, v.octets...)
		if e.take(")") {
			return value{octets: all}
		}
		if !e.want(",") {
			return value{}
		}
	}
}

// literal reads 0x0007 of Kea or 00:07 of dhcpd.
func (e *expression) literal(s string) value {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		if digits = colonHex(s); digits == "" {
			return e.fail()
		}
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return e.fail()
	}
	return value{octets: b}
}

// colonHex gives the digits of octets such as 0:7 or 00:07, two each; empty where it is something else.
func colonHex(s string) string {
	var out strings.Builder
	for part := range strings.SplitSeq(s, ":") {
		n, err := strconv.ParseUint(part, 16, 8)
		if err != nil || len(part) > 2 {
			return ""
		}
		fmt.Fprintf(&out, "%02x", n)
	}
	return out.String()
}
