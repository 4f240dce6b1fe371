package pg

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs that a decision hangs on (PostgreSQL manual, appendix A).
const (
	codeInsufficientPrivilege = "42501"
	codeInvalidPassword       = "28P01"
	codeInvalidAuthorization  = "28000"
	codeUnknownDatabase       = "3D000"
	codeLockNotAvailable      = "55P03"
	codeDeadlock              = "40P01"
	codeSerialization         = "40001"
	codeQueryCanceled         = "57014"
	codeTooManyConnections    = "53300"
	codeConfigurationLimit    = "53400"
	codeObjectInUse           = "55006"
	codeNotInPrerequisite     = "55000"
	codeUndefinedObject       = "42704"
	codeDuplicateObject       = "42710"
	codeUndefinedTable        = "42P01"
	codeFeatureNotSupported   = "0A000"
	codeInvalidColumn         = "42P10"
	codeInternal              = "XX000"
)

// Refusal is a state in which awa-counterd will not start: what is wrong, and the statement, setting
// or flag that mends it.
type Refusal struct { //nolint:errname // it is what operators and docs call it
	Problem string
	Remedy  string
	Err     error // what the server said, when it said something
}

func (r *Refusal) Error() string {
	if r.Remedy == "" {
		return r.Problem
	}
	return r.Problem + "; " + r.Remedy
}

func (r *Refusal) Unwrap() error { return r.Err }

// Refuse makes a Refusal.
func Refuse(remedy, problem string, args ...any) *Refusal {
	return &Refusal{Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
}

func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// IsBusy reports an error that goes away by itself: somebody held a lock, or won a race.
func IsBusy(err error) bool {
	switch code(err) {
	case codeLockNotAvailable, codeDeadlock, codeSerialization, codeQueryCanceled:
		return true
	}
	return false
}

// IsNotConnected reports that a connection could not be opened. It says nothing of those that are open.
func IsNotConnected(err error) bool {
	_, failed := errors.AsType[*pgconn.ConnectError](err)
	return failed
}

// IsDenied reports a missing right.
func IsDenied(err error) bool { return code(err) == codeInsufficientPrivilege }

// IsLockTimeout reports that lock_timeout ran out.
func IsLockTimeout(err error) bool { return code(err) == codeLockNotAvailable }

// IsInUse reports that a replication slot is active for another process.
func IsInUse(err error) bool { return code(err) == codeObjectInUse }

// IsNoFreeSlot reports that max_replication_slots or max_wal_senders is reached.
func IsNoFreeSlot(err error) bool { return code(err) == codeConfigurationLimit }

// IsDuplicate reports that an object is there already.
func IsDuplicate(err error) bool { return code(err) == codeDuplicateObject }

// IsNoTable reports that a table is not there, or not any more.
func IsNoTable(err error) bool { return code(err) == codeUndefinedTable }

// IsUnidentified reports an UPDATE or a DELETE that the server refuses because a publication has it, and the table's replica identity does not
// tell whose row it is, or not to that publication's columns or row filter. Only for such a statement.
func IsUnidentified(err error) bool {
	switch code(err) {
	case codeNotInPrerequisite, codeInvalidColumn:
		return true
	}
	return false
}

// IsSlotUnusable reports a replication slot that was lost, that decodes WAL without its publication, or at whose WAL the
// server itself fails ("could not map filenode …", seen when transaction ids wrap around under prunes): to
// read the same again would only repeat it.
func IsSlotUnusable(err error) bool {
	switch code(err) {
	case codeNotInPrerequisite, codeUndefinedObject, codeFeatureNotSupported, codeInternal:
		return true
	}
	return false
}

// ExplainConnect turns a failed connection into a Refusal that says what to do, or returns err as
// it is when waiting may help as well as anything else.
func (s *Source) ExplainConnect(err error) error {
	var refused *net.OpError
	var lookup *net.DNSError
	if r := s.badCertificate(err); r != nil {
		return r
	}
	switch c := code(err); {
	case c == codeInvalidPassword:
		return &Refusal{
			fmt.Sprintf("%s: wrong password for role %s", s.Target(), s.User()),
			"correct the password in --database-url, PGPASSWORD or ~/.pgpass", err,
		}
	case c == codeInvalidAuthorization:
		return &Refusal{
			fmt.Sprintf("%s: the server does not let role %s in: %s", s.Target(), s.User(), message(err)),
			"create the role with LOGIN, or add a line for it to pg_hba.conf (database entry, not 'replication')", err,
		}
	case c == codeUnknownDatabase:
		return &Refusal{s.Target() + ": there is no such database", "correct --database-url", err}
	case c == codeTooManyConnections && strings.Contains(message(err), "max_wal_senders"):
		return &Refusal{
			s.Target() + ": no walsender is free: " + message(err),
			"raise max_wal_senders (needs a restart), or end one that nobody needs; see pg_stat_replication",
			passing{err},
		}
	case c == codeTooManyConnections:
		return &Refusal{
			s.Target() + ": no connection is free: " + message(err),
			"raise max_connections or the role's CONNECTION LIMIT; awa-counterd needs 7",
			passing{err},
		}
	case errors.As(err, &lookup):
		return &Refusal{fmt.Sprintf("%s: host name cannot be resolved", s.Target()), "correct --database-url", passing{err}}
	case errors.As(err, &refused):
		return s.unreachable(refused.Err.Error(), err)
	case pgconn.Timeout(err):
		return s.unreachable("the server did not answer in time", err)
	}
	return err
}

// badCertificate is a Refusal of a server whose certificate does not pass; nil for other errors. The text has no time of day in it, as
// that of the library has: it would be another problem at each attempt.
func (s *Source) badCertificate(err error) *Refusal {
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var problem, remedy string
	switch {
	case errors.As(err, &host):
		problem, remedy = host.Error(), "connect by a name that the certificate has, or have one made for this name"
	case errors.As(err, &unknown):
		problem, remedy = "it is of an authority that this machine does not know", "name the authority's file with sslrootcert in --database-url, or PGSSLROOTCERT"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		problem, remedy = "it has expired, or is not valid yet", "renew it, or set the clock of this machine"
	case errors.As(err, &invalid):
		problem, remedy = invalid.Error(), "have another certificate made for the server"
	default:
		return nil
	}
	return &Refusal{fmt.Sprintf("%s: the server's certificate is not accepted: %s", s.Target(), strings.TrimPrefix(problem, "x509: ")), remedy, err}
}

func (s *Source) unreachable(why string, err error) *Refusal {
	r := Refuse("start the server, or correct host and port in --database-url (or PGHOST, PGPORT)", "%s is not reachable: %s", s.Target(), why)
	r.Err = passing{err}
	return r
}

// passing marks what may end without anybody's doing: a server that comes up after us, a name that is not known yet.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// MayPass reports a Refusal that is worth trying again for as long as it takes.
func MayPass(err error) bool {
	_, ok := errors.AsType[passing](err)
	return ok
}

func message(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Message
	}
	return err.Error()
}
