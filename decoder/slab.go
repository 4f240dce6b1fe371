package decoder

// slab hands out short slices of one block after the other, so that most of them cost no allocation. What is handed out is the
// taker's, but for the block, which lives as long as any slice of it: so blocks are small.
type slab[T any] struct{ rest []T }

// slabSize is how many of them a block has. What takes more gets a block of its own.
const slabSize = 64

// take returns n zero values; nil for none.
func (s *slab[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n >= slabSize {
		return make([]T, n)
	}
	if n > len(s.rest) {
		s.rest = make([]T, slabSize)
	}
	out := s.rest[:n:n]
	s.rest = s.rest[n:]
	return out
}
