// Shows how far the download of the program is, and says so in words when it cannot be started.
export default () => {
  const text = document.getElementById("boot-text");
  const bar = document.getElementById("boot-bar");
  return {
    onStart: () => {},
    onProgress: ({ current, total }) => {
      if (bar && total) bar.value = Math.min(1, current / total);
    },
    onComplete: () => {},
    onSuccess: () => performance.mark("weft: program started"),
    onFailure: (error) => {
      console.error(error);
      if (text) text.textContent = `The program could not be started: ${error.message ?? error}. Reload the page to try again.`;
    },
  };
};
