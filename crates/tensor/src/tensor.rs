//! Contiguous values with a shape. Copies share storage until one of them is written to.

use std::fmt;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::{DType, Element, Error, Int8Rows, Nf4, Result, bf16};

/// The elements behind a tensor.
#[derive(Clone)]
pub enum Storage {
    /// See [`DType::F32`].
    F32(Arc<Buffer<f32>>),
    /// See [`DType::BF16`].
    BF16(Arc<Buffer<bf16>>),
    /// See [`DType::F64`].
    F64(Arc<Buffer<f64>>),
    /// See [`DType::U32`].
    U32(Arc<Buffer<u32>>),
    /// See [`DType::I32`].
    I32(Arc<Buffer<i32>>),
    /// See [`DType::U8`].
    U8(Arc<Buffer<u8>>),
    /// See [`DType::I8`].
    I8(Arc<Buffer<i8>>),
    /// See [`DType::Nf4`].
    Nf4(Arc<Nf4>),
    /// See [`DType::Int8`].
    Int8(Arc<Int8Rows>),
}

/// Row-major values in main memory. Cloning is cheap: storage is shared until one of the copies is written to.
#[derive(Clone)]
pub struct Tensor {
    storage: Storage,
    shape: Vec<usize>,
}

impl Tensor {
    /// Takes `values` as a tensor of `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shape does not hold exactly as many elements.
    pub fn from_vec<T: Element>(values: Vec<T>, shape: &[usize]) -> Result<Self> {
        if values.len() != shape.iter().product::<usize>() {
            return Err(Error::shape(
                "from_vec",
                "shape",
                shape,
                format_args!("{} elements", values.len()),
            ));
        }
        Ok(Self::from_buffer(values.into(), shape))
    }

    /// All zeros.
    pub fn zeros<T: Element>(shape: &[usize]) -> Self {
        Self::from_buffer(Buffer::<T>::zeros(shape.iter().product()), shape)
    }

    /// A tensor with one element.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self::from_buffer(vec![value].into(), &[1])
    }

    pub(crate) fn from_buffer<T: Element>(buffer: Buffer<T>, shape: &[usize]) -> Self {
        debug_assert_eq!(buffer.len(), shape.iter().product::<usize>());
        Self {
            storage: T::wrap(Arc::new(buffer)),
            shape: shape.to_vec(),
        }
    }

    /// The extent of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the elements are.
    pub fn dtype(&self) -> DType {
        match &self.storage {
            Storage::F32(_) => DType::F32,
            Storage::BF16(_) => DType::BF16,
            Storage::F64(_) => DType::F64,
            Storage::U32(_) => DType::U32,
            Storage::I32(_) => DType::I32,
            Storage::U8(_) => DType::U8,
            Storage::I8(_) => DType::I8,
            Storage::Nf4(_) => DType::Nf4,
            Storage::Int8(_) => DType::Int8,
        }
    }

    /// The elements in row-major order, or `None` if they are of another type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::unwrap(&self.storage).map(|buffer| &***buffer)
    }

    /// Elements of 4 bits under a shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more or fewer.
    pub fn from_nf4(values: Nf4, shape: &[usize]) -> Result<Self> {
        if values.len() != shape.iter().product::<usize>() {
            return Err(Error::shape(
                "from_nf4",
                "shape",
                shape,
                format_args!("{} elements", values.len()),
            ));
        }
        Ok(Self {
            storage: Storage::Nf4(Arc::new(values)),
            shape: shape.to_vec(),
        })
    }

    /// The elements, if they are of 4 bits.
    pub fn as_nf4(&self) -> Option<&Nf4> {
        match &self.storage {
            Storage::Nf4(values) => Some(values),
            _ => None,
        }
    }

    /// A matrix whose rows are 8-bit integers with a scale each.
    pub fn from_int8(rows: Int8Rows) -> Self {
        let shape = vec![rows.scales().len(), rows.columns()];
        Self {
            storage: Storage::Int8(Arc::new(rows)),
            shape,
        }
    }

    /// The rows, if they are of 8-bit integers with a scale each.
    pub fn as_int8(&self) -> Option<&Int8Rows> {
        match &self.storage {
            Storage::Int8(rows) => Some(rows),
            _ => None,
        }
    }

    /// Bytes that the elements take.
    pub fn bytes(&self) -> usize {
        match &self.storage {
            Storage::Nf4(values) => values.bytes(),
            Storage::Int8(rows) => rows.bytes(),
            _ => self.len() * self.dtype().size(),
        }
    }

    /// The elements for writing, copied first if another tensor shares them; `None` if they are of another type.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        T::unwrap_mut(&mut self.storage).map(|buffer| &mut **Arc::make_mut(buffer))
    }

    /// The elements for an operation that has already checked the type.
    pub(crate) fn slice<T: Element>(&self, operation: &'static str, what: &'static str) -> Result<&[T]> {
        self.as_slice().ok_or(Error::DType {
            operation,
            what,
            found: self.dtype(),
            expected: T::DTYPE.name(),
        })
    }

    /// The extents of a matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not two dimensions.
    pub fn dims2(&self, operation: &'static str, what: &'static str) -> Result<[usize; 2]> {
        <[usize; 2]>::try_from(self.shape.as_slice())
            .map_err(|_| Error::shape(operation, what, &self.shape, "two dimensions"))
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements would change.
    pub fn reshape(mut self, shape: &[usize]) -> Result<Self> {
        if self.len() != shape.iter().product::<usize>() {
            return Err(Error::shape(
                "reshape",
                "shape",
                shape,
                format_args!("{} elements", self.len()),
            ));
        }
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// The elements as `f64`, whatever they are.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        fn wide<T: Copy + Into<f64>>(values: &[T]) -> Vec<f64> {
            values.iter().map(|&value| value.into()).collect()
        }
        match &self.storage {
            Storage::F32(values) => wide(values),
            Storage::BF16(values) => wide(values),
            Storage::F64(values) => values.to_vec(),
            Storage::U32(values) => wide(values),
            Storage::I32(values) => wide(values),
            Storage::U8(values) => wide(values),
            Storage::I8(values) => wide(values),
            Storage::Nf4(values) => wide(&values.to_f32_vec()),
            Storage::Int8(rows) => wide(&rows.to_f32_vec()),
        }
    }

    /// The elements as `f32`, rounded where they are wider.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match &self.storage {
            Storage::F32(values) => values.to_vec(),
            Storage::Nf4(values) => values.to_f32_vec(),
            Storage::Int8(rows) => rows.to_f32_vec(),
            _ => self.to_f64_vec().into_iter().map(|value| value as f32).collect(),
        }
    }

    /// The same values in another type, rounded where it is narrower; a copy that shares storage if it is this one already.
    pub fn to_dtype(&self, dtype: DType) -> Self {
        if self.dtype() == dtype {
            return self.clone();
        }
        fn rounded<T: Element>(tensor: &Tensor, round: impl Fn(f64) -> T) -> Tensor {
            let values: Vec<T> = tensor.to_f64_vec().into_iter().map(round).collect();
            Tensor::from_buffer(values.into(), &tensor.shape)
        }
        match dtype {
            DType::F32 => rounded(self, |value| value as f32),
            DType::BF16 => rounded(self, bf16::from_f64),
            DType::F64 => rounded(self, |value| value),
            DType::U32 => rounded(self, |value| value as u32),
            DType::I32 => rounded(self, |value| value as i32),
            DType::U8 => rounded(self, |value| value as u8),
            DType::I8 => rounded(self, |value| value as i8),
            DType::Nf4 => Self {
                storage: Storage::Nf4(Arc::new(Nf4::quantize(&self.to_f32_vec()))),
                shape: self.shape.clone(),
            },
            DType::Int8 => {
                let columns = self.shape.last().copied().unwrap_or(1);
                Self {
                    storage: Storage::Int8(Arc::new(Int8Rows::quantize(&self.to_f32_vec(), columns))),
                    shape: self.shape.clone(),
                }
            }
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.to_f64_vec();
        let shown = &values[..values.len().min(8)];
        write!(f, "Tensor({:?}, {:?}, {shown:?}", self.dtype(), self.shape)?;
        f.write_str(if values.len() > shown.len() { " …)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_hold_the_values() {
        let error = Tensor::from_vec(vec![1.0f32; 5], &[2, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "from_vec: shape has shape [2, 3], expected 5 elements"
        );
    }

    #[test]
    fn copies_share_storage_until_written() {
        let mut first = Tensor::from_vec(vec![1.0f32, 2.0], &[2]).unwrap();
        let second = first.clone();
        assert_eq!(
            first.as_slice::<f32>().unwrap().as_ptr(),
            second.as_slice::<f32>().unwrap().as_ptr()
        );
        first.as_mut_slice::<f32>().unwrap()[0] = 9.0;
        assert_eq!(second.as_slice::<f32>().unwrap(), [1.0, 2.0]);
        assert!(first.as_slice::<f64>().is_none());
    }
}
