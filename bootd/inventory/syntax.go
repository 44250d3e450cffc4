package inventory

import "strings"

const (
	tagRemedy   = "a value that begins with ! must stand in quotes, and an inventory knows no tags"
	quoteRemedy = "a value that begins with a special character must stand in quotes"
	lineRemedy  = "look at the quotes, brackets and indentation of this line and the one before"
)

// remedies are what to do about what the YAML library's scanner says.
var remedies = map[string]string{
	"did not find expected tag URI":                         tagRemedy,
	"did not find the expected '>'":                         tagRemedy,
	"did not find expected '!'":                             tagRemedy,
	"did not find expected whitespace or line break":        tagRemedy,
	"found undefined tag handle":                            tagRemedy,
	"found character that cannot start any token":           quoteRemedy,
	"did not find expected alphabetic or numeric character": quoteRemedy,
	"found unknown directive name":                          "a line that begins with % must be indented or stand in quotes",
	"found unknown escape character":                        "a text with backslashes must stand in single quotes",
	"mapping values are not allowed in this context":        "a second key begins on this line, or its indentation is deeper than its neighbours'; a value that holds a colon and a blank must stand in quotes",
	"did not find expected comment or line break":           "the text behind | or > begins on the next line",
}

// withRemedy adds what to do, where the message does not say it.
func withRemedy(msg string) string {
	switch remedy, ok := remedies[msg]; {
	case ok:
		return msg + ": " + remedy
	case strings.HasPrefix(msg, "unknown anchor"):
		return msg + ": write the anchor (&NAME) before its alias (*NAME), or put a value that begins with * in quotes"
	case strings.HasSuffix(msg, "brackets") || strings.HasSuffix(msg, "closed"):
		return msg
	}
	return msg + ": " + lineRemedy
}
