package sim

import (
	"reflect"
	"unsafe"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// cloner copies a Core with everything that it holds, unexported fields included: whatever the Core comes to keep is copied
// without a word here.
//
// The books are copied by content, and their address stays: the layers in them hold a function that is bound to it. So of all
// copies of one session's Core only one can be worked with at a time, the one whose books stand at that address.
type cloner struct {
	own map[reflect.Type]owning
}

// owning makes what p points to, which is a plain copy as yet, the owner of all that it refers to. seen has what was copied
// already: the layers, the drifting and the dirty share their entries.
type owning func(p unsafe.Pointer, seen map[unsafe.Pointer]unsafe.Pointer)

func newCloner() *cloner {
	c := &cloner{own: make(map[reflect.Type]owning)}
	for _, t := range []reflect.Type{ // never changed once they are made
		reflect.TypeFor[decoder.Effect](), reflect.TypeFor[pgsnap.Snapshot](), reflect.TypeFor[applier.Config](), reflect.TypeFor[applier.Notice](),
		reflect.TypeFor[counter.Packed](),
	} {
		c.own[t] = nil
	}
	c.own[reflect.TypeFor[*applier.Books]()] = nil
	return c
}

// core copies a Core. Its books are still at the address of old's.
func (c *cloner) core(old *applier.Core) *applier.Core {
	out := *old
	if own := c.of(reflect.TypeFor[applier.Core]()); own != nil {
		own(unsafe.Pointer(&out), nil)
	}
	return &out
}

// books copies what stands at the address of the books.
func (c *cloner) books(old *applier.Books) applier.Books {
	out := *old
	c.of(reflect.TypeFor[applier.Books]())(unsafe.Pointer(&out), make(map[unsafe.Pointer]unsafe.Pointer))
	return out
}

// booksOf is the address of a Core's books.
func booksOf(core *applier.Core) *applier.Books {
	return (*applier.Books)(reflect.ValueOf(core).Elem().FieldByName("books").UnsafePointer())
}

// of is nil where a plain copy is all there is to do.
func (c *cloner) of(t reflect.Type) owning {
	own, known := c.own[t]
	if !known {
		switch t.Kind() {
		case reflect.Struct:
			own = c.fields(t)
		case reflect.Pointer:
			own = c.pointer(t)
		case reflect.Slice:
			own = c.slice(t)
		case reflect.Map:
			own = c.mapped(t)
		case reflect.Interface, reflect.Chan, reflect.UnsafePointer:
			panic("cannot copy a " + t.String())
		default: // values, strings, and functions, which see above
		}
		c.own[t] = own
	}
	return own
}

func (c *cloner) fields(t reflect.Type) owning {
	type part struct {
		offset uintptr
		own    owning
	}
	var parts []part
	if t.PkgPath() == "time" { // a Time refers to its zone, which is shared
		return nil
	}
	for f := range t.Fields() {
		if own := c.of(f.Type); own != nil {
			parts = append(parts, part{f.Offset, own})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return func(p unsafe.Pointer, seen map[unsafe.Pointer]unsafe.Pointer) {
		for _, part := range parts {
			part.own(unsafe.Add(p, part.offset), seen)
		}
	}
}

func (c *cloner) pointer(t reflect.Type) owning {
	elem := t.Elem()
	own := c.of(elem)
	return func(p unsafe.Pointer, seen map[unsafe.Pointer]unsafe.Pointer) {
		at := (*unsafe.Pointer)(p)
		if *at == nil {
			return
		}
		if copied, ok := seen[*at]; ok {
			*at = copied
			return
		}
		fresh := reflect.New(elem)
		fresh.Elem().Set(reflect.NewAt(elem, *at).Elem())
		if seen != nil {
			seen[*at] = fresh.UnsafePointer()
		}
		*at = fresh.UnsafePointer()
		if own != nil {
			own(*at, seen)
		}
	}
}

func (c *cloner) slice(t reflect.Type) owning {
	own, size := c.of(t.Elem()), t.Elem().Size()
	return func(p unsafe.Pointer, seen map[unsafe.Pointer]unsafe.Pointer) {
		v := reflect.NewAt(t, p).Elem()
		if v.IsNil() {
			return
		}
		fresh := reflect.MakeSlice(t, v.Len(), v.Len())
		reflect.Copy(fresh, v)
		v.Set(fresh)
		if own != nil {
			for i := range fresh.Len() {
				own(unsafe.Add(fresh.UnsafePointer(), uintptr(i)*size), seen)
			}
		}
	}
}

func (c *cloner) mapped(t reflect.Type) owning {
	ownKey, ownValue := c.of(t.Key()), c.of(t.Elem())
	return func(p unsafe.Pointer, seen map[unsafe.Pointer]unsafe.Pointer) {
		v := reflect.NewAt(t, p).Elem()
		if v.IsNil() {
			return
		}
		fresh := reflect.MakeMapWithSize(t, v.Len())
		if v.Len() > 0 {
			k, e := reflect.New(t.Key()), reflect.New(t.Elem())
			for at := v.MapRange(); at.Next(); {
				k.Elem().SetIterKey(at)
				e.Elem().SetIterValue(at)
				if ownKey != nil {
					ownKey(k.UnsafePointer(), seen)
				}
				if ownValue != nil {
					ownValue(e.UnsafePointer(), seen)
				}
				fresh.SetMapIndex(k.Elem(), e.Elem())
			}
		}
		v.Set(fresh)
	}
}
