"""A dense layer whose LoRA matrices are saved."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_bert_lib")
class Dense(keras.layers.Dense):
    """`keras.layers.Dense` that can go on training its LoRA matrices after it was loaded.

    Keras merges them into the kernel when it saves, and sets both to 0 when it loads; from there
    neither ever gets a gradient. Here files hold them beside the kernel.
    """

    def save_own_variables(self, store):
        """Writes the kernel as it is, the bias, and the LoRA matrices where there are any."""
        if not self.lora_enabled:
            super().save_own_variables(store)
            return
        store["0"], store["1"] = self._kernel, self.bias
        store["lora_kernel_a"], store["lora_kernel_b"] = self.lora_kernel_a, self.lora_kernel_b

    def load_own_variables(self, store):
        """Reads what `save_own_variables` writes; without LoRA matrices there, they add nothing."""
        if not self.lora_enabled:
            super().load_own_variables(store)
            return
        self._kernel.assign(store["0"])
        self.bias.assign(store["1"])
        if "lora_kernel_a" in store.keys():  # noqa: SIM118 (an h5py view, not a dict)
            self.lora_kernel_a.assign(store["lora_kernel_a"])
            self.lora_kernel_b.assign(store["lora_kernel_b"])
        else:
            self.lora_kernel_b.assign(ops.zeros_like(self.lora_kernel_b))

    def merge_lora(self):
        """Adds the product of the LoRA matrices to the kernel, and removes them."""
        scale = self.lora_alpha / self.lora_rank
        self._kernel.assign_add(scale * ops.matmul(self.lora_kernel_a, self.lora_kernel_b))
        self.lora_enabled = False
        self.lora_rank = self.lora_alpha = None
        for name in ("lora_kernel_a", "lora_kernel_b"):
            self._untrack_variable(getattr(self, name))
            delattr(self, name)
