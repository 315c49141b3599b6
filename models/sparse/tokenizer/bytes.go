package tokenizer

import "fmt"

// GPT-2 writes bytes as letters, so that vocabularies are text: printable ones as themselves, the others from U+0100 on.
var (
	byteLetters [256]rune
	letterBytes = map[rune]byte{}
)

func init() {
	next := rune(256)
	for b := range byteLetters {
		r := rune(b)
		if !(r >= '!' && r <= '~' || r >= '¡' && r <= '¬' || r >= '®' && r <= 'ÿ') {
			r, next = next, next+1
		}
		byteLetters[b] = r
		letterBytes[r] = byte(b)
	}
}

// toLetters writes the bytes of a text as letters.
func toLetters(text string) string {
	letters := make([]rune, len(text))
	for i := range len(text) {
		letters[i] = byteLetters[text[i]]
	}
	return string(letters)
}

// fromLetters is the reverse. What is no byte's letter stays as it is.
func fromLetters(letters string) []byte {
	var b []byte
	for _, r := range letters {
		if v, ok := letterBytes[r]; ok {
			b = append(b, v)
		} else {
			b = append(b, string(r)...)
		}
	}
	return b
}

// byteToken is the name of a byte in vocabularies that fall back to bytes.
func byteToken(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

// byteOf is the byte that such a token stands for.
func byteOf(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	var b byte
	if _, err := fmt.Sscanf(token[3:5], "%02X", &b); err != nil || byteToken(b) != token {
		return 0, false
	}
	return b, true
}
