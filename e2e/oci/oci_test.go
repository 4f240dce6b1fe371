package oci

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const good = `FROM golang:1.26 AS build
RUN go mod download
RUN CGO_ENABLED=0 go build -o /out/p ./p
FROM scratch
COPY --from=build /out/p /bin/p
LABEL a.b="c d" e="f"
USER 65534:65534
EXPOSE 80
ENTRYPOINT ["/bin/p"]
CMD ["run", "x"]
`

func dockerfile(t *testing.T, text string) (*Dockerfile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Dockerfile")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return Read(path)
}

func TestRead(t *testing.T) {
	d, err := dockerfile(t, good)
	require.NoError(t, err)
	require.Equal(t, &Dockerfile{
		Base: "golang:1.26", Command: "CGO_ENABLED=0 go build -o /out/p ./p", Copies: []Copy{{"/out/p", "/bin/p"}},
		Config: Config{
			User: "65534:65534", ExposedPorts: map[string]struct{}{"80/tcp": {}}, Entrypoint: []string{"/bin/p"}, Cmd: []string{"run", "x"},
			Labels: map[string]string{"a.b": "c d", "e": "f"},
		},
	}, d)
	for _, wrong := range []string{
		"", "FROM debian AS build\n", good + "ENV a=b\n", good + "COPY x /y\n", good + "CMD run\n", good + "LABEL a=b\n", good + "FROM scratch\n",
		"FROM golang AS build\nRUN go build\nFROM debian\n", "FROM golang\nRUN go build\nFROM scratch\n",
	} {
		_, err := dockerfile(t, wrong)
		require.Error(t, err, wrong)
	}
}

func TestArchive(t *testing.T) {
	d, err := dockerfile(t, good)
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "p")
	require.NoError(t, os.WriteFile(program, []byte("program"), 0o600))
	made := func() []byte {
		layer, err := d.layer(func(string) (string, error) { return program, nil })
		require.NoError(t, err)
		var b bytes.Buffer
		require.NoError(t, d.archive(Options{Release: "1"}, layer, &b))
		return b.Bytes()
	}
	archive := made()
	require.Equal(t, archive, made())
	dir := t.TempDir()
	u, err := Unpack(bytes.NewReader(archive), dir)
	require.NoError(t, err)
	require.Equal(t, d.Config, u.Config)
	require.Equal(t, map[string]os.FileMode{"/bin/p": 0o555}, u.Files)
	got, err := os.ReadFile(filepath.Join(dir, "bin/p"))
	require.NoError(t, err)
	require.Equal(t, "program", string(got))
	_, err = Unpack(bytes.NewReader(bytes.Replace(archive, []byte("program"), []byte("another"), 1)), t.TempDir())
	require.ErrorContains(t, err, "not what its digest says")
}
