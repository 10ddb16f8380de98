package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// startPostgres is PostgreSQL's way to begin TLS: the client asks with a SSLRequest, and the
// server answers with one byte (https://www.postgresql.org/docs/current/protocol-flow.html).
const startPostgres = "postgres"

// StartTLSProtocols are those that begin TLS after a question.
func StartTLSProtocols() []string { return []string{startPostgres} }

// startTLSPostgres asks. What it returns came in place of a yes.
func startTLSPostgres(conn net.Conn) ([]byte, error) {
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return nil, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	if bytes.Equal(answer, []byte("S")) {
		return nil, nil
	}
	return answer, errors.New("the server does not take TLS")
}

// startup is what a client says after TLS has begun: protocol 3.0, and who it is.
const startup = "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"

// maxMessage is how long a message may be that is read.
const maxMessage = 64 << 10

// loginPostgres begins to log in: only then the server says whether it wants a certificate.
// The body of the answer is the error's message, or empty if the login may go on.
func loginPostgres(conn net.Conn) (*Answer, error) {
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(startup)+4)), startup...)
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	head := make([]byte, 5) // a letter and a length that counts itself
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 || length > maxMessage {
		return nil, errors.New("the answer is none of PostgreSQL")
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	answer := &Answer{Server: "PostgreSQL"}
	if head[0] != 'E' {
		return answer, nil
	}
	for field := range bytes.SplitSeq(body, []byte{0}) {
		if len(field) > 0 && field[0] == 'M' {
			answer.Body = string(field[1:])
		}
	}
	return answer, nil
}
