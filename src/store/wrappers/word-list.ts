/**
 * The words that shares are printed in: one for each value of a byte. No two share their first four letters, and no two
 * are one slip of the pen apart. The list is part of the vault's format and never changes.
 */
export const WORDS: readonly string[] = `
  acorn alarm album alley amber anchor angle apple apron arch arrow atlas attic autumn axis bacon
  badge bagel baker bamboo banjo barrel basket beach beard beetle berry bison blade blanket blossom bottle
  boulder brick bridge broom bucket buffalo butter cabin cactus camel candle canoe canyon carpet castle cedar
  cello chalk cherry chimney circus citrus clay cliff clock cloud clover cobra coffee comet copper coral
  cotton cradle crayon cricket crown crystal curtain cycle daisy dancer desert diamond dinner dolphin donkey dragon
  drum eagle earth echo elbow engine eraser falcon feather fender fiddle finger flame flute forest fossil
  fountain freezer frost galaxy garden garlic giraffe glacier glove goblet gorilla grape gravel guitar hammer harbor
  harvest hazel helmet hockey honey horizon hotel husky igloo insect iron island ivory jacket jaguar jelly
  jewel jungle kayak kettle kitchen kiwi koala ladder lagoon lantern laptop lava lemon leopard letter lilac
  linen lizard lobster locket lumber magnet mango maple marble meadow melon mirror mosaic muffin mushroom mustard
  napkin nectar needle nickel noodle nutmeg oasis ocean octopus olive onion opera orange orbit orchid otter
  oven oyster paddle palace panda paper parrot pebble pencil pepper piano pigeon pillow pilot planet plum
  poem pony poppy potato prism pumpkin puppet puzzle quartz quilt rabbit radio raven ribbon river robin
  sailor salmon sandal saturn scarf school shovel silver skate sparrow spider spoon squid statue summer sunset
  table teapot temple tennis thunder ticket tiger timber tomato tower tractor trumpet tulip tunnel turtle umbrella
  velvet violin volcano waffle wagon walnut water whale wheat whistle window winter wolf yacht yogurt zebra
`
  .trim()
  .split(/\s+/);
