package wheels

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereTheyAre(t *testing.T) {
	t.Setenv("AWA_VENVS", "/somewhere")
	d, err := Default()
	require.NoError(t, err)
	require.Equal(t, "/somewhere/0.6.9/bin/python", d.Python("0.6.9"))
	require.Equal(t, "/somewhere/0.6.9/bin/awa", d.CLI("0.6.9"))
	t.Setenv("AWA_VENVS", "")
	t.Setenv("HOME", "/home/someone")
	d, err = Default()
	require.NoError(t, err)
	require.Equal(t, Dir("/home/someone/.cache/awa-counterd/realawa"), d)
	t.Setenv("HOME", "")
	_, err = Default()
	require.ErrorContains(t, err, "AWA_VENVS")
}

// python puts a program into PATH, as the only one, that is called instead of Python.
func python(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "python3"), []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+script), 0o700))
	t.Setenv("PATH", dir)
}

// venv makes what python3 -m venv would: $3 is the directory.
const venv = "mkdir -p \"$3/bin\"\nprintf '#!/bin/sh\\n%s\\n' \"$pip\" >\"$3/bin/python\"\nchmod +x \"$3/bin/python\"\n"

func TestInstalledOnce(t *testing.T) {
	d := Dir(t.TempDir())
	python(t, "pip='case \"$*\" in *awa-pg==0.6.9*awa-cli==0.6.9*) exec /bin/ln -s python \"${0%python}awa\";; esac'\n"+venv)
	require.False(t, d.Has("0.6.9"))
	require.NoError(t, d.Obtain(t.Context(), "0.6.9"))
	require.True(t, d.Has("0.6.9"))
	require.False(t, d.Has("0.6.8"), "another release")
	python(t, "exit 1")
	require.NoError(t, d.Obtain(t.Context(), "0.6.9"), "it is there, so nothing is asked for")
	require.NoError(t, os.Remove(d.CLI("0.6.9")))
	require.False(t, d.Has("0.6.9"), "the interpreter alone is not a release")
}

// What could not be finished is removed, or the next run would take it for a release.
func TestHalfInstalledIsRemoved(t *testing.T) {
	d := Dir(t.TempDir())
	python(t, "pip='echo looking; echo no such release; exit 1'\n"+venv)
	err := d.Obtain(t.Context(), "0.0.0")
	var absent *AbsentError
	require.True(t, errors.As(err, &absent), "%v", err)
	require.ErrorContains(t, err, "awa 0.0.0 cannot be had")
	require.ErrorContains(t, err, ": no such release", "the last line is what pip has to say")
	require.NotContains(t, err.Error(), "looking")
	require.NoDirExists(t, filepath.Join(string(d), "0.0.0"))
}
