package pgoutputtest

import (
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

// Somebody else's parser reads what is built here as it was meant.
func TestAnotherParserReadsIt(t *testing.T) {
	m, err := pglogrepl.Parse(New('R').Relation(7, "awa", "done_entries_3", "queue", "priority").B)
	require.NoError(t, err)
	relation, ok := m.(*pglogrepl.RelationMessage)
	require.True(t, ok)
	require.Equal(t, uint32(7), relation.RelationID)
	require.Equal(t, "awa", relation.Namespace)
	require.Equal(t, "done_entries_3", relation.RelationName)
	require.Equal(t, uint8('d'), relation.ReplicaIdentity)
	require.Len(t, relation.Columns, 2)
	require.Equal(t, "priority", relation.Columns[1].Name)
	require.Equal(t, int32(-1), relation.Columns[1].TypeModifier)

	m, err = pglogrepl.Parse(New('I').U32(7).U8('N').Tuple("email", 1, nil, Unchanged).B)
	require.NoError(t, err)
	insert, ok := m.(*pglogrepl.InsertMessage)
	require.True(t, ok)
	require.Equal(t, uint32(7), insert.RelationID)
	columns := insert.Tuple.Columns
	require.Len(t, columns, 4)
	require.Equal(t, "email", string(columns[0].Data))
	require.Equal(t, "1", string(columns[1].Data))
	require.Equal(t, pglogrepl.TupleDataTypeNull, columns[2].DataType)
	require.Equal(t, pglogrepl.TupleDataTypeToast, columns[3].DataType)
}

// What is wrong can be built as well: nothing is mended, nothing added.
func TestBytesAsTheyAre(t *testing.T) {
	require.Equal(t, []byte{'x', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'a', 0, 'b'},
		New('x').U8(1).U16(0x0203).U32(0x04050607).U64(0x08090a0b0c0d0e0f).Str("a").Raw("b").B)
}
