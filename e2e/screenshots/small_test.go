package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is frequent keeps its colour, and what is rare is near to it.
func TestSmall(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 300, 100))
	each(m, func(x, y int, _ color.RGBA) { m.SetRGBA(x, y, color.RGBA{0xfa, 0xfb, 0xfc, 0xff}) })
	for x := range 300 { // more colours than there is room for
		c := color.RGBA{uint8(x), uint8(x / 2), 10, 0xff}
		m.SetRGBA(x, 50, c)
		if x%2 == 0 {
			m.SetRGBA(x, 51, c)
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	got, err := small(b.Bytes())
	require.NoError(t, err)
	back, err := png.Decode(bytes.NewReader(got))
	require.NoError(t, err)
	require.IsType(t, &image.Paletted{}, back)
	require.Equal(t, color.RGBA{0xfa, 0xfb, 0xfc, 0xff}, back.At(0, 0))
	for x := range 300 {
		r, g, _, _ := back.At(x, 50).RGBA()
		require.InDelta(t, uint8(x), r>>8, 2)
		require.InDelta(t, uint8(x/2), g>>8, 2)
	}
}
